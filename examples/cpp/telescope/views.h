#pragma once

#include <opencv2/core.hpp>
#include <vector>

#include "telescope/tiling.h"

namespace telescope {

/// One look of the network at a crop. model_store/views.py explains why several are averaged.
struct Look {
    double scale;   ///< in (0, 1]
    bool inverted;  ///< the network sees 255 minus each pixel, and its picture is inverted back
};

/// So many looks, of which some may be equal. scale: working scale before its limit of 1. Throws Error for a number
/// of views that there is no set of.
std::vector<Look> looks(int views, double scale);

/// One look with its tiles.
struct View {
    Layout layout;
    bool inverted;
};

/// A crop, CV_8UC3 in BGR -> the tiles of one view.
Tensor split(const cv::Mat& bgr, const View& view, const PixelSpec& spec);

/// The network's outputs for the tiles of each view -> the mean of their pictures, CV_8UC3 in BGR.
cv::Mat merge(const std::vector<Tensor>& sr, const std::vector<View>& views, const PixelSpec& spec);

}  // namespace telescope
