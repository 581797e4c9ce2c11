# What Kiln's own code uses of others, in forms that leave no trace in the shared library's interface.

# spdlog's header-only target links the compiled fmt, which would come to stand in NEEDED: take its headers only.
add_library(kiln_spdlog INTERFACE)
target_link_libraries(kiln_spdlog INTERFACE fmt::fmt-header-only Threads::Threads)
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
  check_cxx_source_compiles("#include <openssl/evp.h>\nint main() { return EVP_MD_CTX_new() && EVP_sha256() ? 0 : 1; }"
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
