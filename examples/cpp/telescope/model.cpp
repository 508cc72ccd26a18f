#include "telescope/model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "telescope/error.h"

namespace telescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double NO_LIMIT = std::numeric_limits<double>::infinity();
constexpr int CALIBRATION_SCHEMA = 3;

/// Passes the JSON of a file to `use`. Throws Error, which names the file.
template <typename Use>
void read(const fs::path& file, Use use) {
    try {
        std::ifstream stream(file);
        use(json::parse(stream));
    } catch (const std::exception& error) {
        throw Error(file.string() + " cannot be used (" + error.what() +
                    "); restore the file as it was published");
    }
}

fs::path existing(const fs::path& file) {
    if (fs::is_regular_file(file)) return file;
    throw Error(file.string() +
                " is missing; name the folder of a published model, such as model_store/tbsrn/4, with --model");
}

/// JSON has no infinity, so the file holds null in its place.
double limit(const json& value) { return value.is_null() ? NO_LIMIT : value.get<double>(); }

Rule rule(const json& raw) {
    const Rule found{limit(raw.at("min_blur")), limit(raw.at("max_noise")), limit(raw.at("target_blur")),
                     limit(raw.at("strength")), raw.value("views", 1),
                     raw.value("strength_of_one", raw.at("strength").get<double>())};
    found.looks(1);  // throws if there is no such set of views
    const double least = std::min(found.strength, found.strength_of_one);
    const double most = std::max(found.strength, found.strength_of_one);
    if (found.target_blur > 0 && least > 0 && most <= 1) return found;
    throw Error("target_blur must be positive, and each strength in (0, 1]");
}

}  // namespace

const Rule UNCALIBRATED{0, NO_LIMIT, 1.8, 1};

Rule Rule::for_size(cv::Size crop) const {
    if (crop.area() <= VIEWED_PIXELS) return *this;
    Rule one_view = *this;
    one_view.views = 1;
    if (views > 1) one_view.strength = strength_of_one;
    return one_view;
}

std::vector<Look> Rule::looks(double blur) const {
    return telescope::looks(views, blur > 0 ? target_blur / blur : NO_LIMIT);
}

std::string Rule::finding(const Estimate& estimate) const {
    if (std::isinf(min_blur)) return "no gain for this recogniser";
    if (estimate.is_blank()) return "blank";
    if (estimate.blur < min_blur) return "sharp";
    return std::isinf(max_noise) || estimate.noise() <= max_noise ? "blurred" : "noisy";
}

Model::Model(const fs::path& folder) {
    std::string version;
    read(existing(folder / "manifest.json"), [&](const json& raw) {
        const json& pixels = raw.at("pixels");
        version = std::to_string(raw.at("version").get<int>());
        name = raw.at("name").get<std::string>() + ":" + version;
        spec = {
            {pixels.at("width"), pixels.at("height")}, pixels.at("scale"), pixels.at("low"), pixels.at("high")};
        sizes = {spec.trained};
        for (const json& size : raw.value("any_size", json::array())) {
            const cv::Size tile(size.at(1), size.at(0));
            if (tile != spec.trained) sizes.push_back(tile);
        }
    });
    trained_ = existing(folder / "onnx" / "model.onnx");
    any_size_ = sizes.size() > 1 ? existing(folder / "onnx-any-size" / "model.onnx") : trained_;
    const fs::path calibration = fs::canonical(folder).parent_path() / ("calibration-" + version + ".json");
    if (!fs::exists(calibration)) return;
    read(calibration, [&](const json& raw) {
        if (raw.at("schema_version") != CALIBRATION_SCHEMA || raw.at("model") != name) {
            throw Error("it must be of schema " + std::to_string(CALIBRATION_SCHEMA) + " and for " + name);
        }
        for (const auto& [recogniser, limits] : raw.at("rules").items()) rules[recogniser] = rule(limits);
        if (!rules.count(ANY_RECOGNISER)) throw Error("it has no rule " + ANY_RECOGNISER);
        const json opinions = raw.value("second_opinions", json::object()).value("limits", json::object());
        for (const auto& [recogniser, limits] : raw.at("rules").items()) {
            json treatment = limits;
            const json own = opinions.value(recogniser, json::object());
            for (const char* key : {"target_blur", "strength", "views", "strength_of_one"}) {
                if (own.contains(key)) treatment[key] = own.at(key);
            }
            every_crop[recogniser] = rule(treatment);
        }
    });
}

}  // namespace telescope
