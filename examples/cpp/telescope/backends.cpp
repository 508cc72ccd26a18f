#include "telescope/error.h"
#include "telescope/network.h"

namespace telescope {

std::unique_ptr<Network> open_onnx(const Model& model, int threads);
std::unique_ptr<Network> open_openvino(const Model& model, int threads);

const std::vector<Backend>& backends() {
    static const std::vector<Backend> built = {
#ifdef TELESCOPE_OPENVINO
        {"openvino", open_openvino},
#endif
#ifdef TELESCOPE_ONNX
        {"onnx", open_onnx},
#endif
    };
    return built;
}

std::string backend_names() {
    std::string names;
    for (const Backend& built : backends()) names += (names.empty() ? "" : ", ") + built.name;
    return names;
}

const Backend& backend(const std::string& name) {
    for (const Backend& built : backends()) {
        if (name.empty() || built.name == name) return built;
    }
    throw Error("the backend " + name + " is not built in, only " + backend_names() +
                "; README.md says how to build it");
}

}  // namespace telescope
