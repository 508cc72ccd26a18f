#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "telescope/calibration.h"
#include "telescope/pixels.h"

namespace telescope {

/// A published model: a folder as model_store/tbsrn/3, and the calibration beside it.
struct Model {
    /// Throws Error if the folder holds no model, or one of its files cannot be used.
    explicit Model(const std::filesystem::path& folder);

    /// The ONNX file for batches of this input size.
    const std::filesystem::path& network(cv::Size tile) const;

    std::string name;  ///< with its version: tbsrn:3
    PixelSpec spec;
    std::vector<cv::Size> sizes;  ///< input sizes of the network, the trained one first
    Rules rules;                  ///< empty without calibration

 private:
    std::filesystem::path trained_, any_size_;
};

}  // namespace telescope
