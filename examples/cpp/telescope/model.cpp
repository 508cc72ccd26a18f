#include "telescope/model.h"

#include <algorithm>

#include "telescope/error.h"
#include "telescope/json.h"

namespace telescope {
namespace {

namespace fs = std::filesystem;

fs::path existing(const fs::path& file) {
    if (fs::is_regular_file(file)) return file;
    throw Error(file.string() + " is missing; name the folder of a published model, such as model_store/tbsrn/3, "
                "with --model");
}

}  // namespace

Model::Model(const fs::path& folder) {
    struct Manifest {
        std::string name;
        int version;
        PixelSpec spec;
        std::vector<cv::Size> sizes;
    };
    const auto manifest = read_json<Manifest>(existing(folder / "manifest.json"), [](const nlohmann::json& raw) {
        const nlohmann::json& pixels = raw.at("pixels");
        const cv::Size trained(pixels.at("width"), pixels.at("height"));
        Manifest found{raw.at("name"), raw.at("version"),
                       {trained, pixels.at("scale"), pixels.at("low"), pixels.at("high")}, {trained}};
        for (const auto& size : raw.value("any_size", nlohmann::json::array())) {
            const cv::Size tile(size.at(1), size.at(0));
            if (tile != trained) found.sizes.push_back(tile);
        }
        return found;
    });
    name = manifest.name + ":" + std::to_string(manifest.version);
    spec = manifest.spec;
    sizes = manifest.sizes;
    const fs::path real = fs::canonical(folder);  // the name may end in a slash or in ..
    rules = read_rules(real.parent_path() / ("calibration-" + std::to_string(manifest.version) + ".json"), name);
    trained_ = existing(folder / "onnx" / "model.onnx");
    any_size_ = sizes.size() > 1 ? existing(folder / "onnx-any-size" / "model.onnx") : trained_;
}

const fs::path& Model::network(cv::Size tile) const { return tile == spec.trained ? trained_ : any_size_; }

}  // namespace telescope
