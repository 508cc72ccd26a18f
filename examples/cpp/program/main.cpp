// telescope crops/*.png -o out
//
// options -> for each picture: read -> upscale -> write out/NAME.png

#include <iostream>
#include <opencv2/core/utils/logger.hpp>

#include "program/benchmark.h"
#include "program/options.h"
#include "program/pictures.h"
#include "telescope/error.h"
#include "telescope/upscaler.h"

namespace {

constexpr int BAD_INPUT = 2;

/// Upscales every picture that can be read. Returns the exit code.
int upscale_all(const Options& options, const telescope::Model& model) {
    const auto written = targets(options.crops, options.out);
    const auto network = telescope::backend(options.backend).open(model, options.threads);
    const telescope::Upscaler upscale(model, *network, options.mode, options.recogniser);
    int code = 0;
    for (size_t i = 0; i < written.size(); ++i) {
        try {
            write_picture(written[i], upscale(read_picture(options.crops[i])));
        } catch (const telescope::Error& error) {  // which spares the other pictures
            std::cerr << "telescope: " << error.what() << "\n";
            code = BAD_INPUT;
        }
    }
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);  // our errors say what it would warn of
    try {
        const Options options = Options::parse({argv + 1, argv + argc});
        if (options.help) {
            std::cout << usage();
            return 0;
        }
        const telescope::Model model(options.model);
        if (!options.benchmark) return upscale_all(options, model);
        benchmark(options, model);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "telescope: " << error.what() << "\n";
        return BAD_INPUT;
    }
}
