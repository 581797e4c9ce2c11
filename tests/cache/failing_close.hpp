#pragma once

namespace kiln::cache {

/// The next close(2) of this program closes the file and fails all the same, as on a network file system whose server
/// has no room left. No file that a test can make does so: the linker puts this in the call's place (--wrap).
void fail_next_close(int error);

}  // namespace kiln::cache
