#include "telescope/views.h"

#include <algorithm>
#include <map>
#include <string>

#include "telescope/error.h"

namespace telescope {
namespace {

struct Set {
    std::vector<double> shares;  // of the working scale
    std::vector<bool> inversions;
};

const std::map<int, Set> SETS = {{1, {{1.0}, {false}}}, {6, {{0.75, 1.0, 1.25}, {false, true}}}};

cv::Mat inverted(const cv::Mat& picture) { return cv::Scalar::all(255) - picture; }

}  // namespace

std::vector<Look> looks(int views, double scale) {
    const auto set = SETS.find(views);
    if (set == SETS.end()) throw Error("there is no set of " + std::to_string(views) + " views");
    std::vector<Look> found;
    for (double share : set->second.shares) {
        for (bool is_inverted : set->second.inversions) found.push_back({std::min(1.0, share * scale), is_inverted});
    }
    return found;
}

Tensor split(const cv::Mat& bgr, const View& view, const PixelSpec& spec) {
    return split(view.inverted ? inverted(bgr) : bgr, view.layout, spec);
}

cv::Mat merge(const std::vector<Tensor>& sr, const std::vector<View>& views, const PixelSpec& spec) {
    std::vector<cv::Mat> pictures;
    for (size_t i = 0; i < views.size(); ++i) {
        const cv::Mat picture = merge(sr[i], views[i].layout, spec);
        pictures.push_back(views[i].inverted ? inverted(picture) : picture);
    }
    if (pictures.size() == 1) return pictures[0];
    cv::Mat total = cv::Mat::zeros(pictures[0].size(), CV_32FC3);
    for (const cv::Mat& picture : pictures) cv::add(total, picture, total, cv::noArray(), CV_32F);
    total.convertTo(total, CV_8U, 1.0 / static_cast<double>(pictures.size()));
    return total;
}

}  // namespace telescope
