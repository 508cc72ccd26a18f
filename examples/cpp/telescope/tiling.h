#pragma once

#include <opencv2/core.hpp>
#include <vector>

#include "telescope/pixels.h"

namespace telescope {

/// How one crop becomes tiles.
struct Layout {
    cv::Size size;                 ///< of the crop at its working scale, upright
    cv::Size tile;                 ///< one of the network's input sizes
    std::vector<int> tops, lefts;  ///< first pixel of each row and of each column of tiles
    cv::Size output;               ///< of the resulting picture
    bool turned;                   ///< the crop shows a line of text on its side
};

/// The layout of a crop at a working scale in (0, 1].
///
/// The network takes the same time for every pixel, so the tiles have the size with the fewest pixels in total.
/// sizes: the network's input sizes.
Layout plan(cv::Size crop, double scale, const PixelSpec& spec, const std::vector<cv::Size>& sizes);

/// A crop, CV_8UC3 in BGR -> its tiles, row by row. A tile that reaches beyond the crop repeats the crop's edge.
Tensor split(const cv::Mat& bgr, const Layout& layout, const PixelSpec& spec);

/// The network's outputs for the tiles of `split` -> the output picture, CV_8UC3 in BGR.
cv::Mat merge(const Tensor& sr, const Layout& layout, const PixelSpec& spec);

/// `strength` of the super-resolved picture, and the rest of the enlarged crop, which has the same size.
cv::Mat mixed(const cv::Mat& sr, const cv::Mat& enlarged, double strength);

}  // namespace telescope
