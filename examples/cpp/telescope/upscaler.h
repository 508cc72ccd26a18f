#pragma once

#include <string>

#include "telescope/network.h"
#include "telescope/views.h"

namespace telescope {

/// The treatment of one crop, and the reason for it.
struct Decision {
    enum Method { SUPER_RESOLVED, ENLARGED, KEPT } method;
    std::string reason;
    std::vector<Look> looks;  ///< of the network at the crop; none if it does not go through the network
    double strength;          ///< share of the network's picture in the output
};

enum class Mode {
    AUTO,    ///< super-resolve the crops that it helps to read
    ALWAYS,  ///< super-resolve every crop
};

/// Decides which crops go through the network, prepares their tiles and makes pictures of the network's outputs.
///
///     crop -> prepare -> infer -> finish -> picture of twice the size
class Upscaler {
 public:
    /// A crop with the tiles of each view: none if it does not go through the network.
    struct Prepared {
        cv::Mat crop;
        Decision decision;
        std::vector<View> views;
        std::vector<Tensor> tiles;
    };

    /// recogniser: the reader of the results, as the calibration names it; crops that it reads better unchanged
    /// are kept as they are. "" if unknown. Both references must outlive this object. Throws Error for an unknown
    /// recogniser.
    Upscaler(const Model& model, Network& network, Mode mode = Mode::AUTO, const std::string& recogniser = "");

    /// All three steps for a crop, CV_8UC3 in BGR, as cv::imread gives it.
    cv::Mat operator()(const cv::Mat& crop) const;

    Decision decide(const cv::Mat& crop) const;
    Prepared prepare(const cv::Mat& crop) const;
    std::vector<Tensor> infer(Prepared& prepared) const;
    cv::Mat finish(const Prepared& prepared, const std::vector<Tensor>& sr) const;

 private:
    const Model& model_;
    Network& network_;
    bool always_;
    Decision::Method otherwise_;  // of crops that do not go through the network
    Rule rule_;
};

}  // namespace telescope
