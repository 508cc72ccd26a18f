#pragma once

#include <stdexcept>

namespace telescope {

/// A sentence for the user: the value that is wrong, and the remedy.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace telescope
