#include "telescope/error.h"
#include "telescope/network.h"

namespace telescope {

std::unique_ptr<Network> open_onnx(const Model& model, int threads);
std::unique_ptr<Network> open_openvino(const Model& model, int threads);

const std::vector<Backend>& backends() {
    static const std::vector<Backend> built = {
#ifdef TELESCOPE_ONNX
        {"onnx", open_onnx},
#endif
#ifdef TELESCOPE_OPENVINO
        {"openvino", open_openvino},
#endif
    };
    return built;
}

const Backend& backend(const std::string& name) {
    std::string known;
    for (const Backend& built : backends()) {
        if (name.empty() || built.name == name) return built;
        known += (known.empty() ? "" : ", ") + built.name;
    }
    throw Error("the backend " + name + " is not built in, only " + known + "; README.md says how to build it");
}

}  // namespace telescope
