#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "telescope/blur.h"
#include "telescope/pixels.h"
#include "telescope/views.h"

namespace telescope {

/// Which crops one recogniser reads better after super-resolution, and by which treatment.
///
/// Lengths are in pixels of the crop. model_store/calibration.py makes and explains these rules.
struct Rule {
    double min_blur;     ///< the least blur that is super-resolved; infinity: no crop is
    double max_noise;    ///< the largest noise, relative to the crop's contrast; infinity: no limit
    double target_blur;  ///< blur of the crop at its working scale; a crop blurred less keeps its scale
    double strength;     ///< share of the network's picture in the output; the rest is the enlarged crop
    int views = 1;       ///< of the network at the crop, which are averaged
    double strength_of_one = strength;  ///< of one view, in a crop of more than VIEWED_PIXELS

    /// The rule for a crop of this size.
    Rule for_size(cv::Size crop) const;

    /// The looks at a crop of this blur; at its own scale for a blank crop, whose blur is NaN.
    std::vector<Look> looks(double blur) const;

    /// "blurred": super-resolve the crop; any other finding is the reason not to.
    std::string finding(const Estimate& estimate) const;
};

constexpr int VIEWED_PIXELS = 16384;  ///< a larger crop gets one view
extern const Rule UNCALIBRATED;  ///< super-resolves every crop
inline const std::string ANY_RECOGNISER = "any";

/// A published model: a folder such as model_store/tbsrn/4, and the calibration beside it.
struct Model {
    /// Throws Error if the folder holds no model, or one of its files cannot be used.
    explicit Model(const std::filesystem::path& folder);

    /// The ONNX file for tiles of this size.
    const std::filesystem::path& network(cv::Size tile) const {
        return tile == spec.trained ? trained_ : any_size_;
    }

    std::string name;  ///< with its version: tbsrn:4
    PixelSpec spec;
    std::vector<cv::Size> sizes;        ///< input sizes of the network, the trained one first
    std::map<std::string, Rule> rules;  ///< by recogniser, ANY_RECOGNISER among them; empty without calibration
    std::map<std::string, Rule> every_crop;  ///< the same by the treatment of second opinions

 private:
    std::filesystem::path trained_, any_size_;
};

}  // namespace telescope
