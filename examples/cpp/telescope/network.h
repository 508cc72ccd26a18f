#pragma once

#include <memory>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "telescope/model.h"

namespace telescope {

/// A model in a library that runs it.
class Network {
 public:
    virtual ~Network() = default;

    /// Super-resolves `count` tiles, each one of the model's input sizes.
    ///
    /// lr: float (count, 3, tile.height, tile.width). sr: memory for the result, `scale` times as high and wide.
    virtual void run(float* lr, float* sr, int count, cv::Size tile) = 0;
};

/// One of the libraries that this program was built with.
struct Backend {
    std::string name;
    /// threads: 0 leaves their number to the library. Throws Error if the library cannot load the model.
    std::unique_ptr<Network> (*open)(const Model& model, int threads);
};

/// Every backend that was built; the first is the default.
const std::vector<Backend>& backends();

/// Their names, with commas between them.
std::string backend_names();

/// The backend of this name; "" is the default. Throws Error, which names the backends that there are.
const Backend& backend(const std::string& name);

}  // namespace telescope
