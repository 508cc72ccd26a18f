#include "program/benchmark.h"

#include <chrono>
#include <cstdio>

#include "program/pictures.h"
#include "telescope/upscaler.h"

namespace {

using Clock = std::chrono::steady_clock;
using Crops = std::vector<cv::Mat>;

double ms(Clock::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

void measure(const telescope::Backend& backend, const Options& options, const telescope::Model& model,
             const Crops& crops) {
    const auto network = backend.open(model, options.threads);
    const telescope::Upscaler upscale(model, *network, options.mode, options.recogniser);
    for (const cv::Mat& crop : crops) upscale(crop);  // warm-up: the backends prepare each size at its first batch
    Clock::duration preparing{}, inferring{}, finishing{};
    int count = 0, super_resolved = 0;
    const auto start = Clock::now();
    do {  // whole rounds, so that every crop counts as often
        for (const cv::Mat& crop : crops) {
            const auto begun = Clock::now();
            auto prepared = upscale.prepare(crop);
            const auto cut = Clock::now();
            const auto sr = upscale.infer(prepared);
            const auto inferred = Clock::now();
            upscale.finish(prepared, sr);
            preparing += cut - begun;
            inferring += inferred - cut;
            finishing += Clock::now() - inferred;
            super_resolved += prepared.decision.method == telescope::Decision::SUPER_RESOLVED;
            ++count;
        }
    } while (ms(Clock::now() - start) < 1000 * options.benchmark);
    const double seconds = ms(Clock::now() - start) / 1000;
    std::printf("%-10s %8.1f %9.2f %9.2f %9.2f %7d, %d through the network\n", backend.name.c_str(),
                count / seconds, ms(preparing) / count, ms(inferring) / count, ms(finishing) / count, count,
                super_resolved);
}

}  // namespace

void benchmark(const Options& options, const telescope::Model& model) {
    Crops crops;
    for (const auto& file : options.crops) crops.push_back(read_picture(file));
    std::printf("%-10s %8s %9s %9s %9s %7s\n", "", "crops/s", "prepare", "network", "finish", "crops");
    std::printf("%-10s %8s %9s %9s %9s\n", "", "", "ms/crop", "ms/crop", "ms/crop");
    for (const auto& backend : telescope::backends()) {
        if (options.backend.empty() || options.backend == backend.name) measure(backend, options, model, crops);
    }
}
