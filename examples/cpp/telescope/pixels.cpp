#include "telescope/pixels.h"

#include <algorithm>
#include <cmath>

namespace telescope {
namespace {

constexpr int WEIGHT_BITS = 22;  // of 32: 8 hold a level, and 2 what sums of weights above 1 need

/// The pixels from `first` on that one resampled pixel is made of, with their weights in fixed point.
struct Window {
    int first;
    std::vector<int> weights;
};

double cubic(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

Window window(int index, int from, int to) {
    const double step = static_cast<double>(from) / to;
    const double widened = std::max(step, 1.0), shrink = 1 / widened, reach = 2 * widened;
    const double centre = (index + 0.5) * step;
    const int first = std::max(0, static_cast<int>(centre - reach + 0.5));
    const int end = std::min(from, static_cast<int>(centre + reach + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int i = first; i < end; ++i) sum += weights.emplace_back(cubic((i - centre + 0.5) * shrink));
    Window found{first, {}};
    for (double weight : weights) {
        const double fixed = weight / sum * (1 << WEIGHT_BITS);
        found.weights.push_back(static_cast<int>(fixed + (fixed < 0 ? -0.5 : 0.5)));
    }
    return found;
}

cv::Mat with_width(const cv::Mat& picture, int width) {
    if (picture.cols == width) return picture;
    std::vector<Window> windows;
    for (int x = 0; x < width; ++x) windows.push_back(window(x, picture.cols, width));
    cv::Mat result(picture.rows, width, CV_8UC3);
    for (int y = 0; y < picture.rows; ++y) {
        cv::Vec3b* resampled = result.ptr<cv::Vec3b>(y);
        for (const Window& from : windows) {
            const cv::Vec3b* pixel = picture.ptr<cv::Vec3b>(y) + from.first;
            cv::Vec3i sum = cv::Vec3i::all(1 << (WEIGHT_BITS - 1));  // a half, for rounding
            for (int weight : from.weights) {
                for (int channel = 0; channel < 3; ++channel) sum[channel] += weight * (*pixel)[channel];
                ++pixel;
            }
            for (int channel = 0; channel < 3; ++channel) sum[channel] >>= WEIGHT_BITS;
            *resampled++ = sum;  // clips to 0 .. 255
        }
    }
    return result;
}

cv::Mat with_height(const cv::Mat& picture, int height) {
    return picture.rows == height ? picture : cv::Mat(with_width(picture.t(), height).t());
}

}  // namespace

cv::Mat resize(const cv::Mat& picture, cv::Size size) {
    // Pillow rounds between the passes, so that their order matters; before version 13 it always began with the
    // width
    const int rows_less = picture.rows - size.height, columns_less = picture.cols - size.width;
    if (rows_less > 0 && rows_less > 2 * columns_less) {
        return with_width(with_height(picture, size.height), size.width);
    }
    return with_height(with_width(picture, size.width), size.height);
}

void to_tensor(const cv::Mat& bgr, const PixelSpec& spec, Tensor& tensor, int index) {
    const float step = static_cast<float>((spec.high - spec.low) / 255), low = static_cast<float>(spec.low);
    float* value = tensor.image(index);
    for (int channel : {2, 1, 0}) {
        for (int y = 0; y < bgr.rows; ++y) {
            const cv::Vec3b* row = bgr.ptr<cv::Vec3b>(y);
            for (int x = 0; x < bgr.cols; ++x) *value++ = row[x][channel] * step + low;
        }
    }
}

cv::Mat to_picture(const Tensor& sr, const PixelSpec& spec, cv::Size size) {
    const float step = static_cast<float>(255 / (spec.high - spec.low)), low = static_cast<float>(spec.low);
    cv::Mat bgr(size, CV_8UC3);
    const float* plane = sr.image(0);
    for (int channel : {2, 1, 0}) {
        for (int y = 0; y < size.height; ++y) {
            const float* row = plane + y * sr.size.width;
            for (int x = 0; x < size.width; ++x) {
                bgr.at<cv::Vec3b>(y, x)[channel] = cv::saturate_cast<uchar>((row[x] - low) * step);
            }
        }
        plane += sr.size.area();
    }
    return bgr;
}

}  // namespace telescope
