#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "telescope/error.h"

namespace telescope {

/// The result of `read` on the JSON of a file. Throws Error, which names the file.
template <typename Result, typename Read>
Result read_json(const std::filesystem::path& file, Read read) {
    try {
        std::ifstream stream(file);
        return read(nlohmann::json::parse(stream));
    } catch (const std::exception& error) {
        throw Error(file.string() + " cannot be used (" + error.what() + "); restore the file as it was published");
    }
}

}  // namespace telescope
