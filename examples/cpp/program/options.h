#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "telescope/upscaler.h"

/// The command line.
struct Options {
    std::vector<std::filesystem::path> crops;
    std::filesystem::path out;
    std::filesystem::path model;
    telescope::Mode mode = telescope::Mode::AUTO;
    std::string recogniser;  ///< "" if unknown
    std::string backend;     ///< "" for the first that was built
    int threads = 0;         ///< 0 leaves their number to the backend
    double benchmark = 0;    ///< seconds for each backend; 0 writes pictures instead
    bool help = false;

    /// Throws telescope::Error for an option that is unknown, incomplete or out of range.
    static Options parse(const std::vector<std::string>& arguments);
};

/// The text of --help.
std::string usage();
