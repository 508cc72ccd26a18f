#pragma once

#include <opencv2/core.hpp>

namespace telescope {

/// How blurred, noisy and contrasty a crop of text is.
struct Estimate {
    double blur;      ///< standard deviation of the Gaussian that blurred the text, in pixels; NaN: blank
    double contrast;  ///< from the darkest fiftieth to the brightest, of 255
    cv::Mat grey;     ///< the measured plane, CV_32F

    bool is_blank() const;  ///< a plain ground without text
    double noise() const;   ///< standard deviation over contrast; NaN for a blank crop
};

/// Measures a crop, CV_8UC3 in BGR: dark text on light ground or the other way round.
///
/// A port of model_store/blur.py, which explains the method.
Estimate estimate(const cv::Mat& bgr);

}  // namespace telescope
