# What Kiln's own code uses of others, in forms that leave no trace in the shared library's interface.

# fmt's code is compiled once, not in each file that formats, which would take a third of the build. Its namespace is
# Kiln's own, so that it never stands in for the fmt of a program that links the static library. src/fmt/fmt.cpp knows
# version 9 (Debian 12, Ubuntu 24.04); any other is used from its headers alone.
if(fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  add_library(kiln_fmt STATIC ${PROJECT_SOURCE_DIR}/src/fmt/fmt.cpp)
  target_include_directories(kiln_fmt SYSTEM
    PUBLIC $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(kiln_fmt
    PUBLIC "FMT_BEGIN_NAMESPACE=namespace fmt { inline namespace kiln {" "FMT_END_NAMESPACE=} }")
  target_link_libraries(kiln_fmt PRIVATE kiln_flags)
  set_target_properties(kiln_fmt PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
else()
  add_library(kiln_fmt INTERFACE)
  target_link_libraries(kiln_fmt INTERFACE fmt::fmt-header-only)
endif()

# spdlog's header-only target links the compiled fmt, which would come to stand in NEEDED: take its headers only.
add_library(kiln_spdlog INTERFACE)
target_link_libraries(kiln_spdlog INTERFACE kiln_fmt Threads::Threads)
target_compile_definitions(kiln_spdlog
  INTERFACE $<TARGET_PROPERTY:spdlog::spdlog_header_only,INTERFACE_COMPILE_DEFINITIONS>)
target_include_directories(kiln_spdlog SYSTEM
  INTERFACE $<TARGET_PROPERTY:spdlog::spdlog_header_only,INTERFACE_INCLUDE_DIRECTORIES>)

# libcrypto is folded in where a static one links (some distributions' needs libraries of its own), so that the
# shared library runs wherever glibc and libstdc++ do.
include(CheckCXXSourceCompiles)
find_library(KILN_LIBCRYPTO_A libcrypto.a)
mark_as_advanced(KILN_LIBCRYPTO_A)
if(KILN_LIBCRYPTO_A)
  set(CMAKE_REQUIRED_INCLUDES ${OPENSSL_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${KILN_LIBCRYPTO_A} Threads::Threads ${CMAKE_DL_LIBS})
  check_cxx_source_compiles("#include <openssl/sha.h>\nint main() { SHA256_CTX hash; return SHA256_Init(&hash) - 1; }"
                            KILN_STATIC_LIBCRYPTO)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
endif()
add_library(kiln_libcrypto INTERFACE)
target_include_directories(kiln_libcrypto SYSTEM INTERFACE ${OPENSSL_INCLUDE_DIR})
if(KILN_STATIC_LIBCRYPTO)
  target_link_libraries(kiln_libcrypto INTERFACE ${KILN_LIBCRYPTO_A} Threads::Threads ${CMAKE_DL_LIBS})
else()
  target_link_libraries(kiln_libcrypto INTERFACE OpenSSL::Crypto)
endif()
