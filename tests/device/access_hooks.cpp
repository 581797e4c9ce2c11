// What code compiled with -fsanitize=thread calls. Linked without that flag, a program has to bring it.
#ifdef KILN_LOOKS_FOR_RACES
#include "device/emulator/races.hpp"

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* address, unsigned long bytes) { emulator::on_access(address, bytes, false); }
void __tsan_write_range(void* address, unsigned long bytes) { emulator::on_access(address, bytes, true); }

#define KILN_ACCESS(bytes)                                                                         \
  void __tsan_read##bytes(void* address) { emulator::on_access(address, bytes, false); }           \
  void __tsan_write##bytes(void* address) { emulator::on_access(address, bytes, true); }           \
  void __tsan_unaligned_read##bytes(void* address) { emulator::on_access(address, bytes, false); } \
  void __tsan_unaligned_write##bytes(void* address) { emulator::on_access(address, bytes, true); }
KILN_ACCESS(1)
KILN_ACCESS(2)
KILN_ACCESS(4)
KILN_ACCESS(8)
KILN_ACCESS(16)
#undef KILN_ACCESS

}  // extern "C"
#endif
