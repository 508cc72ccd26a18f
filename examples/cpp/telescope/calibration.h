#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "telescope/blur.h"

namespace telescope {

/// Which crops one recogniser reads better after super-resolution, and at which scale and strength.
///
/// Lengths are in pixels of the crop. model_store/calibration.py makes and explains these rules.
struct Rule {
    double min_blur;     ///< the least blur that is super-resolved; infinity: no crop is
    double max_noise;    ///< the largest noise, relative to the crop's contrast; infinity: no limit
    double target_blur;  ///< blur of the crop at its working scale; a crop blurred less keeps its scale
    double strength;     ///< share of the network's picture in the output; the rest is the enlarged crop

    /// The working scale of a crop of this blur, in (0, 1]; 1 for a blank crop, whose blur is NaN.
    double scale(double blur) const;

    /// "blurred": super-resolve the crop; any other finding is the reason not to.
    std::string finding(const Estimate& estimate) const;
};

/// By recogniser, ANY_RECOGNISER among them.
using Rules = std::map<std::string, Rule>;

inline const std::string ANY_RECOGNISER = "any";

/// Without calibration, and for every crop whatever its blur.
extern const Rule UNCALIBRATED;

/// The rules of a calibration file; empty if there is no such file.
///
/// model: name:version that the rules must be for. Throws Error.
Rules read_rules(const std::filesystem::path& file, const std::string& model);

}  // namespace telescope
