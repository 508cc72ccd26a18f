#include "telescope/blur.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <opencv2/imgproc.hpp>

namespace telescope {
namespace {

constexpr int MAX_COLUMNS = 512;      // of a long line only the middle is measured
constexpr double MAX_ROWS = 64;       // a higher crop is shrunk to it
constexpr double SHARP = 0.6;         // pixels of blur that a sharp crop is measured to have, after shrinking too
constexpr double MIN_CONTRAST = 4;    // of 255; less is a plain ground
constexpr double QUARTILE = 0.31864;  // of a normal distribution's absolute values
constexpr double ROOT_OF_TWO_PI = 2.5066282746310002;

// Constant, edge, middle, spread, and their products in the order of model_store/blur.py.
constexpr double COEFFICIENTS[] = {-0.49667596, 2.29453835,  -0.60224261, -0.94794783, -0.04521744,
                                   -1.30070155, -0.55159344, 1.08260199,  0.87454574,  -0.23417306};

/// The value below which this share of a CV_32F plane lies.
double quantile(const cv::Mat& plane, double share) {
    std::vector<float> values(plane.begin<float>(), plane.end<float>());
    const auto place = values.begin() + static_cast<int>(share * (static_cast<double>(values.size()) - 1));
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

double contrast_of(const cv::Mat& plane) { return quantile(plane, 0.98) - quantile(plane, 0.02); }

cv::Mat blurred(const cv::Mat& plane, double sigma) {
    cv::Mat result;
    cv::GaussianBlur(plane, result, cv::Size(), sigma, 0, cv::BORDER_REPLICATE);
    return result;
}

/// The quantile `share` of steepness, times sqrt(2 pi): contrast over it is the sigma of a blurred edge.
double slope(const cv::Mat& plane, double share) {
    cv::Mat across, down, steepness;
    cv::Scharr(plane, across, -1, 1, 0, 1.0 / 32, 0, cv::BORDER_REPLICATE);
    cv::Scharr(plane, down, -1, 0, 1, 1.0 / 32, 0, cv::BORDER_REPLICATE);
    cv::magnitude(across, down, steepness);
    return ROOT_OF_TWO_PI * std::max(quantile(steepness, share), 1e-3);
}

/// The blur by a regression, which holds for logarithms in the ranges here.
double blur_of(const cv::Mat& grey, double contrast) {
    const double spread_left = std::max(contrast_of(blurred(grey, 4.0)), 1.0);
    const double edge = std::clamp(std::log(contrast / slope(grey, 0.98)), -0.3, 1.9);
    const double middle = std::clamp(std::log(contrast / slope(blurred(grey, 1.0), 0.90)), 0.3, 2.2);
    const double spread = std::clamp(std::log(spread_left / contrast), -2.0, 0.0);
    const double terms[] = {1.0,           edge,          middle,          spread,          edge * edge,
                            edge * middle, edge * spread, middle * middle, middle * spread, spread * spread};
    double log_blur = 0;
    for (int i = 0; i < 10; ++i) log_blur += terms[i] * COEFFICIENTS[i];
    return std::exp(log_blur);
}

}  // namespace

bool Estimate::is_blank() const { return std::isnan(blur); }

double Estimate::noise() const {
    if (is_blank()) return blur;
    // Immerkaer, Fast Noise Variance Estimation (1996): white noise of deviation s gives a deviation of 6 s
    const cv::Mat laplacians = (cv::Mat_<float>(3, 3) << 1, -2, 1, -2, 4, -2, 1, -2, 1);
    cv::Mat curvature;
    cv::filter2D(grey, curvature, -1, laplacians, cv::Point(-1, -1), 0, cv::BORDER_REPLICATE);
    return quantile(cv::abs(curvature), 0.25) / (6 * QUARTILE * contrast);
}

Estimate estimate(const cv::Mat& bgr) {
    const double shrunk = std::max(1.0, bgr.rows / MAX_ROWS);
    const int columns = std::min(bgr.cols, static_cast<int>(std::nearbyint(MAX_COLUMNS * shrunk)));
    Estimate found;
    cv::cvtColor(bgr.colRange((bgr.cols - columns) / 2, (bgr.cols - columns) / 2 + columns), found.grey,
                 cv::COLOR_BGR2GRAY);
    if (shrunk > 1) {
        const int width = std::max(1, static_cast<int>(std::nearbyint(columns / shrunk)));
        cv::resize(found.grey, found.grey, cv::Size(width, static_cast<int>(MAX_ROWS)), 0, 0, cv::INTER_AREA);
    }
    found.grey.convertTo(found.grey, CV_32F);
    found.contrast = contrast_of(found.grey);
    found.blur = std::numeric_limits<double>::quiet_NaN();
    if (found.contrast < MIN_CONTRAST) return found;
    const double blur = blur_of(found.grey, found.contrast);
    // variances add up, and shrinking does not reduce the variance of a sharp crop
    const double sharp = SHARP * SHARP;
    found.blur = blur > SHARP ? std::sqrt(shrunk * shrunk * (blur * blur - sharp) + sharp) : blur;
    return found;
}

}  // namespace telescope
