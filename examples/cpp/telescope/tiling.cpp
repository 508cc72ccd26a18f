#include "telescope/tiling.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telescope {
namespace {

constexpr int OVERLAP_PX = 16;   // of neighbouring tiles; a pixel depends on the 18 px around it
constexpr int OVERLAP_PART = 4;  // an overlap takes at most this part of a tile's side
constexpr double SHRINKS[] = {1.0, 0.97, 0.94, 0.91, 0.88};  // of the working scale where that saves tiles
constexpr double MIN_ROWS = 12;  // of text, before SHRINKS; with fewer, letters fall together
constexpr int TURN_ROWS = 64;  // a crop that is higher, and TURN_ASPECT times as high as wide, is text on its side
constexpr double TURN_ASPECT = 1.5;

int overlap(int side) { return std::min(OVERLAP_PX, side / OVERLAP_PART); }

int tiles_along(int length, int side) {
    const int step = side - overlap(side);
    return length <= side ? 1 : (length - overlap(side) + step - 1) / step;
}

int scaled(int length, double factor) {
    return std::max(1, static_cast<int>(std::nearbyint(factor * length)));  // half to even
}

/// Tiles spread evenly from the first pixel to the last.
std::vector<int> starts(int length, int side) {
    const int count = tiles_along(length, side);
    std::vector<int> found(count, 0);
    for (int i = 1; i < count; ++i) {
        found[i] = static_cast<int>(std::nearbyint(static_cast<double>(i) * (length - side) / (count - 1)));
    }
    return found;
}

/// Near its ends a tile lacks the pixels around it, so its weight falls there.
float weight(int position, int side, int scale) {
    const int nearest = std::min(position, scale * side - 1 - position) + 1;
    return static_cast<float>(std::min(nearest, scale * overlap(side)));
}

/// The area of all tiles, which may reach beyond the crop, as a tensor of one image.
Tensor blended(const Tensor& sr, const Layout& layout, int scale) {
    const cv::Size whole_size((layout.lefts.back() + layout.tile.width) * scale,
                              (layout.tops.back() + layout.tile.height) * scale);
    Tensor whole(1, whole_size);
    std::vector<float> total(whole_size.area(), 0.0f);
    const float* value = sr.values.data();
    for (int top : layout.tops) {
        for (int left : layout.lefts) {
            for (int channel = 0; channel < 3; ++channel) {
                for (int y = 0; y < sr.size.height; ++y) {
                    const int row = (scale * top + y) * whole_size.width + scale * left;
                    const float down = weight(y, layout.tile.height, scale);
                    for (int x = 0; x < sr.size.width; ++x) {
                        const float share = down * weight(x, layout.tile.width, scale);
                        whole.values[channel * total.size() + row + x] += *value++ * share;
                        if (channel == 0) total[row + x] += share;
                    }
                }
            }
        }
    }
    for (size_t i = 0; i < whole.values.size(); ++i) whole.values[i] /= total[i % total.size()];
    return whole;
}

}  // namespace

Layout plan(cv::Size crop, double scale, const PixelSpec& spec, const std::vector<cv::Size>& sizes) {
    Layout layout;
    layout.output = cv::Size(spec.scale * crop.width, spec.scale * crop.height);
    layout.turned = crop.height > TURN_ROWS && crop.height >= TURN_ASPECT * crop.width;
    if (layout.turned) std::swap(crop.width, crop.height);
    scale = std::max(scale, std::min(1.0, MIN_ROWS / crop.height));
    auto least = std::numeric_limits<long long>::max();
    for (double shrink : SHRINKS) {
        const cv::Size size(scaled(crop.width, shrink * scale), scaled(crop.height, shrink * scale));
        for (cv::Size tile : sizes) {
            const long long pixels = static_cast<long long>(tiles_along(size.height, tile.height)) *
                                     tiles_along(size.width, tile.width) * tile.area();
            if (pixels < least) {  // among equal costs the first, which is the largest
                least = pixels;
                layout.size = size;
                layout.tile = tile;
            }
        }
    }
    layout.tops = starts(layout.size.height, layout.tile.height);
    layout.lefts = starts(layout.size.width, layout.tile.width);
    return layout;
}

Tensor split(const cv::Mat& bgr, const Layout& layout, const PixelSpec& spec) {
    cv::Mat upright = bgr;
    if (layout.turned) cv::rotate(bgr, upright, cv::ROTATE_90_COUNTERCLOCKWISE);
    cv::Mat working = resize(upright, layout.size);
    const int below = std::max(0, layout.tile.height - layout.size.height);
    const int beside = std::max(0, layout.tile.width - layout.size.width);
    // isolated: `bgr` may be a region of a page, whose other pixels are no part of the crop
    cv::copyMakeBorder(working, working, 0, below, 0, beside, cv::BORDER_REPLICATE | cv::BORDER_ISOLATED);
    Tensor tiles(static_cast<int>(layout.tops.size() * layout.lefts.size()), layout.tile);
    int index = 0;
    for (int top : layout.tops) {
        for (int left : layout.lefts) {
            to_tensor(working(cv::Rect(cv::Point(left, top), layout.tile)), spec, tiles, index++);
        }
    }
    return tiles;
}

cv::Mat merge(const Tensor& sr, const Layout& layout, const PixelSpec& spec) {
    const cv::Size size(spec.scale * layout.size.width, spec.scale * layout.size.height);
    const cv::Mat picture = to_picture(sr.count == 1 ? sr : blended(sr, layout, spec.scale), spec, size);
    if (!layout.turned) return resize(picture, layout.output);
    cv::Mat turned_back;
    cv::rotate(resize(picture, cv::Size(layout.output.height, layout.output.width)), turned_back,
               cv::ROTATE_90_CLOCKWISE);
    return turned_back;
}

cv::Mat mixed(const cv::Mat& sr, const cv::Mat& enlarged, double strength) {
    const float share = static_cast<float>(strength);
    cv::Mat picture(sr.size(), CV_8UC3);
    for (int y = 0; y < sr.rows; ++y) {
        const uchar *ours = sr.ptr(y), *plain = enlarged.ptr(y);
        uchar* result = picture.ptr(y);
        for (int x = 0; x < 3 * sr.cols; ++x) {
            result[x] = cv::saturate_cast<uchar>(share * ours[x] + (1 - share) * plain[x]);
        }
    }
    return picture;
}

}  // namespace telescope
