#include "program/options.h"

#include <algorithm>

#include "telescope/error.h"

namespace {

using telescope::Error;

constexpr double BENCHMARK_SECONDS = 5;
constexpr int MAX_THREADS = 1024;

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
}

double number(const std::string& option, const std::string& text, double least, double most) {
    const double value = is_number(text) ? std::strtod(text.c_str(), nullptr) : -1;
    if (value >= least && value <= most) return value;
    throw Error(option + " takes a number from " + std::to_string(int(least)) + " to " + std::to_string(int(most)) +
                ", not " + text);
}

telescope::Mode mode(const std::string& name) {
    if (name == "auto") return telescope::Mode::AUTO;
    if (name == "always") return telescope::Mode::ALWAYS;
    throw Error("--mode takes auto or always, not " + name);
}

}  // namespace

Options Options::parse(const std::vector<std::string>& arguments) {
    Options options;
    options.model = TELESCOPE_MODEL;
    std::vector<std::string> waiting(arguments.rbegin(), arguments.rend());
    const auto next = [&waiting] {
        const std::string argument = waiting.back();
        waiting.pop_back();
        return argument;
    };
    while (!waiting.empty()) {
        const std::string argument = next();
        if (argument.size() < 2 || argument[0] != '-') {
            options.crops.emplace_back(argument);
            continue;
        }
        const auto equals = std::min(argument.find('='), argument.size());
        const std::string option = argument.substr(0, equals);
        if (equals < argument.size()) waiting.push_back(argument.substr(equals + 1));
        const auto value = [&] {
            if (waiting.empty()) throw Error(option + " needs a value; --help shows all options");
            return next();
        };
        if (option == "-h" || option == "--help") options.help = true;
        else if (option == "-o" || option == "--out") options.out = value();
        else if (option == "--model") options.model = value();
        else if (option == "--mode") options.mode = ::mode(value());
        else if (option == "--recogniser") options.recogniser = value();
        else if (option == "--backend") options.backend = telescope::backend(value()).name;
        else if (option == "--threads") options.threads = int(number(option, value(), 1, MAX_THREADS));
        else if (option == "--benchmark") {
            const bool has_value = !waiting.empty() && is_number(waiting.back());
            options.benchmark = has_value ? number(option, next(), 1, 3600) : BENCHMARK_SECONDS;
        } else {
            throw Error("the option " + option + " is unknown; --help shows all options");
        }
    }
    if (options.help) return options;
    if (options.crops.empty()) throw Error("name one or more pictures of text; --help shows an example");
    if (options.out.empty() && !options.benchmark) throw Error("name a folder for the results with -o");
    return options;
}

std::string usage() {
    std::string known;
    for (const auto& backend : telescope::backends()) known += (known.empty() ? "" : ", ") + backend.name;
    return "telescope crops/*.png -o out\n"
           "\n"
           "Super-resolves small pictures of text: out/NAME.png of twice the size for each picture.\n"
           "\n"
           "-o, --out DIR           folder for the PNGs\n"
           "--mode auto|always      auto (the default): super-resolve only the crops that it helps to read, and\n"
           "                        enlarge others; always: all crops\n"
           "--recogniser NAME       the recogniser that reads the results: super-resolves the crops it reads better,\n"
           "                        keeps others\n"
           "--model DIR             folder of a published model; default: " TELESCOPE_MODEL "\n"
           "--backend NAME          one of those built in, the first by default: " + known + "\n"
           "--threads N             for the network; default: as many as the backend chooses\n"
           "--benchmark [SECONDS]   write no pictures, but measure every backend, or that of --backend, for " +
           std::to_string(int(BENCHMARK_SECONDS)) + " seconds\n"
           "                        or as many as you say\n"
           "-h, --help\n";
}
