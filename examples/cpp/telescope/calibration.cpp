#include "telescope/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "telescope/error.h"
#include "telescope/json.h"

namespace telescope {
namespace {

constexpr double NO_LIMIT = std::numeric_limits<double>::infinity();
constexpr int SCHEMA_VERSION = 3;

/// JSON has no infinity, so the file holds null in its place.
double limit(const nlohmann::json& value) { return value.is_null() ? NO_LIMIT : value.get<double>(); }

Rule read_rule(const nlohmann::json& raw) {
    const Rule rule{limit(raw.at("min_blur")), limit(raw.at("max_noise")), limit(raw.at("target_blur")),
                    limit(raw.at("strength"))};
    if (rule.target_blur <= 0 || rule.strength <= 0 || rule.strength > 1) {
        throw Error("target_blur must be positive, and strength in (0, 1]");
    }
    return rule;
}

}  // namespace

const Rule UNCALIBRATED{0, NO_LIMIT, 1.8, 1};

double Rule::scale(double blur) const { return blur > 0 ? std::min(1.0, target_blur / blur) : 1.0; }

std::string Rule::finding(const Estimate& estimate) const {
    if (std::isinf(min_blur)) return "no gain for this recogniser";
    if (estimate.is_blank()) return "blank";
    if (estimate.blur < min_blur) return "sharp";
    return std::isinf(max_noise) || estimate.noise() <= max_noise ? "blurred" : "noisy";
}

Rules read_rules(const std::filesystem::path& file, const std::string& model) {
    if (!std::filesystem::exists(file)) return {};
    return read_json<Rules>(file, [&](const nlohmann::json& raw) {
        if (raw.at("schema_version") != SCHEMA_VERSION || raw.at("model") != model) {
            throw Error("it must be of schema " + std::to_string(SCHEMA_VERSION) + " and for " + model);
        }
        Rules rules;
        for (const auto& [name, rule] : raw.at("rules").items()) rules[name] = read_rule(rule);
        if (!rules.count(ANY_RECOGNISER)) throw Error("it has no rule " + ANY_RECOGNISER);
        return rules;
    });
}

}  // namespace telescope
