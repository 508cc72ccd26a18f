#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace telescope {

/// Input and output of the network: LR (N, 3, height, width) -> SR (N, 3, scale * height, scale * width).
struct PixelSpec {
    cv::Size trained;  ///< the input size that the network was trained at
    int scale;
    double low;   ///< the tensor value of a pixel of 0
    double high;  ///< the tensor value of a pixel of 255
};

/// float (count, 3, size.height, size.width); the planes of an image are R, G and B.
struct Tensor {
    Tensor(int count, cv::Size size) : count(count), size(size), values(count * image_size()) {}

    size_t image_size() const { return 3 * static_cast<size_t>(size.area()); }
    float* image(int index) { return values.data() + index * image_size(); }
    const float* image(int index) const { return values.data() + index * image_size(); }

    int count;
    cv::Size size;
    std::vector<float> values;
};

/// Bicubic with antialiasing, equal to Pillow's BICUBIC to the last bit. Any CV_8UC3 -> CV_8UC3 of `size`.
///
/// Not cv::resize: its INTER_CUBIC has another kernel (a = -0.75), which is never widened when shrinking.
cv::Mat resize(const cv::Mat& picture, cv::Size size);

/// Writes a CV_8UC3 picture in BGR, of the tensor's size, as image `index`.
void to_tensor(const cv::Mat& bgr, const PixelSpec& spec, Tensor& tensor, int index);

/// The first image of a tensor, cut to `size` from its top left: CV_8UC3 in BGR, rounded and clipped to 0 .. 255.
cv::Mat to_picture(const Tensor& sr, const PixelSpec& spec, cv::Size size);

}  // namespace telescope
