#include "program/options.h"

#include <functional>
#include <map>

#include "telescope/error.h"

namespace {

using telescope::Error;

constexpr double BENCHMARK_SECONDS = 5;

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
}

double number(const std::string& option, const std::string& text, int most) {
    const double value = is_number(text) ? std::strtod(text.c_str(), nullptr) : 0;
    if (value >= 1 && value <= most) return value;
    throw Error(option + " takes a number from 1 to " + std::to_string(most) + ", not " + text);
}

telescope::Mode mode_of(const std::string& name) {
    if (name == "auto") return telescope::Mode::AUTO;
    if (name == "always") return telescope::Mode::ALWAYS;
    throw Error("--mode takes auto or always, not " + name);
}

}  // namespace

Options Options::parse(const std::vector<std::string>& arguments) {
    Options options;
    options.model = TELESCOPE_MODEL;
    using Value = const std::string&;
    const std::map<std::string, std::function<void(Value)>> with_value = {
        {"-o", [&](Value value) { options.out = value; }},
        {"--out", [&](Value value) { options.out = value; }},
        {"--mode", [&](Value value) { options.mode = mode_of(value); }},
        {"--recogniser", [&](Value value) { options.recogniser = value; }},
        {"--model", [&](Value value) { options.model = value; }},
        {"--backend", [&](Value value) { options.backend = telescope::backend(value).name; }},
        {"--threads", [&](Value value) { options.threads = static_cast<int>(number("--threads", value, 1024)); }},
        {"--benchmark", [&](Value value) { options.benchmark = number("--benchmark", value, 3600); }},
    };
    for (auto next = arguments.begin(); next != arguments.end();) {
        const std::string argument = *next++;
        const std::string option = argument.substr(0, argument.find('='));
        const auto set = with_value.find(option);
        if (argument == "-h" || argument == "--help") {
            options.help = true;
        } else if (set != with_value.end() && option != argument) {
            set->second(argument.substr(option.size() + 1));
        } else if (option == "--benchmark" && (next == arguments.end() || !is_number(*next))) {
            options.benchmark = BENCHMARK_SECONDS;
        } else if (set != with_value.end()) {
            if (next == arguments.end()) throw Error(option + " needs a value; --help shows all options");
            set->second(*next++);
        } else if (argument.substr(0, 1) == "-") {
            throw Error("the option " + option + " is unknown; --help shows all options");
        } else {
            options.crops.emplace_back(argument);
        }
    }
    if (options.help) return options;
    if (options.crops.empty()) throw Error("name one or more pictures of text; --help shows an example");
    if (options.out.empty() && !options.benchmark) throw Error("name a folder for the results with -o");
    return options;
}

std::string usage() {
    return R"(telescope crops/*.png -o out

Super-resolves small pictures of text: out/NAME.png of twice the size for each picture.

-o, --out DIR           folder for the PNGs
--mode auto|always      auto (the default): super-resolve only the crops that it helps to read, and enlarge
                        others; always: all crops
--recogniser NAME       the recogniser that reads the results: super-resolves the crops it reads better,
                        keeps others
--model DIR             folder of a published model; default: )" TELESCOPE_MODEL R"(
--backend NAME          one of those built in, by default the first: )" +
           telescope::backend_names() + R"(
--threads N             threads for the network; default: as many as the backend chooses
--benchmark [SECONDS]   write no pictures, but measure every backend, or that of --backend, for 5 seconds or
                        for as many as you say
-h, --help
)";
}
