#include "telescope/upscaler.h"

#include <algorithm>

#include "telescope/error.h"

namespace telescope {
namespace {

constexpr int MAX_BATCH = 8;  // tiles; larger batches take memory, and are no faster

Rule rule_for(const Model& model, Mode mode, const std::string& recogniser) {
    if (recogniser.empty() && model.rules.empty()) return UNCALIBRATED;
    const auto& rules = mode == Mode::ALWAYS ? model.every_crop : model.rules;
    const auto found = rules.find(recogniser.empty() ? ANY_RECOGNISER : recogniser);
    if (found != rules.end()) return found->second;
    std::string known;
    for (const auto& [name, rule] : model.rules) known += (known.empty() ? "" : ", ") + name;
    throw Error(model.name + " was not calibrated for the recogniser " + recogniser + "; " +
                (known.empty() ? "it has no calibration" : "known are " + known));
}

}  // namespace

Upscaler::Upscaler(const Model& model, Network& network, Mode mode, const std::string& recogniser)
    : model_(model),
      network_(network),
      always_(mode == Mode::ALWAYS || model.rules.empty()),
      otherwise_(recogniser.empty() ? Decision::ENLARGED : Decision::KEPT),
      rule_(rule_for(model, mode, recogniser)) {}

cv::Mat Upscaler::operator()(const cv::Mat& crop) const {
    Prepared prepared = prepare(crop);
    return finish(prepared, infer(prepared));
}

Decision Upscaler::decide(const cv::Mat& crop) const {
    const Estimate measured = estimate(crop);
    const std::string finding = always_ ? "always" : rule_.finding(measured);
    if (!always_ && finding != "blurred") return {otherwise_, finding, {}, 1};
    const Rule rule = rule_.for_size(crop.size());
    return {Decision::SUPER_RESOLVED, finding, rule.looks(measured.blur), rule.strength};
}

Upscaler::Prepared Upscaler::prepare(const cv::Mat& crop) const {
    Prepared prepared{crop, decide(crop), {}, {}};
    for (const Look& look : prepared.decision.looks) {
        const View view{plan(crop.size(), look.scale, model_.spec, model_.sizes), look.inverted};
        const auto is_equal = [&](const View& other) {  // the same crop in the same size has the same layout
            return other.layout.size == view.layout.size && other.inverted == view.inverted;
        };
        if (std::any_of(prepared.views.begin(), prepared.views.end(), is_equal)) continue;
        prepared.views.push_back(view);
        prepared.tiles.push_back(split(crop, view, model_.spec));
    }
    return prepared;
}

std::vector<Tensor> Upscaler::infer(Prepared& prepared) const {
    std::vector<Tensor> found;
    for (Tensor& lr : prepared.tiles) {
        Tensor& sr = found.emplace_back(lr.count, lr.size * model_.spec.scale);
        for (int first = 0; first < lr.count; first += MAX_BATCH) {
            network_.run(lr.image(first), sr.image(first), std::min(MAX_BATCH, lr.count - first), lr.size);
        }
    }
    return found;
}

cv::Mat Upscaler::finish(const Prepared& prepared, const std::vector<Tensor>& sr) const {
    const auto& [crop, decision, views, tiles] = prepared;
    if (decision.method == Decision::KEPT) return crop;
    const cv::Size output = crop.size() * model_.spec.scale;
    if (decision.method == Decision::ENLARGED) return resize(crop, output);
    const cv::Mat picture = merge(sr, views, model_.spec);
    return decision.strength == 1 ? picture : mixed(picture, resize(crop, output), decision.strength);
}

}  // namespace telescope
