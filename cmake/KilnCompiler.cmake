# How Kiln's own code is compiled. Nothing here reaches a project that uses Kiln.
add_library(kiln_flags INTERFACE)
target_compile_features(kiln_flags INTERFACE cxx_std_20)
target_compile_options(kiln_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  # g++ 12 to 14 raise false alarms from inside the standard library's variant, optional and string.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow -Wno-restrict>)
# g++ collects garbage as if memory were scarce: an eighth of the time that it takes. Few files need the gigabyte.
target_compile_options(kiln_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1048576>)
# Inside another project a newer compiler's new warning must not stop the build.
if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_COMPILE_WARNING_AS_ERROR)
  set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
endif()
target_include_directories(kiln_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
  ${PROJECT_SOURCE_DIR}/templates)

if(KILN_SANITIZE)
  set(sanitize -fsanitize=${KILN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(kiln_flags INTERFACE ${sanitize})
  target_link_options(kiln_flags INTERFACE ${sanitize})
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# kiln_precompile(<owner> <header>...): parsed once for this target and for each that kiln_reuse_precompiled names with it.
function(kiln_precompile owner)
  target_precompile_headers(${owner} PRIVATE ${ARGN})
  # Without it ccache keeps nothing that is compiled with them (scripts/common.sh has the rest of what it asks for).
  target_compile_options(${owner} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# kiln_reuse_precompiled(<owner> <target>...)
function(kiln_reuse_precompiled owner)
  foreach(target IN LISTS ARGN)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endforeach()
endfunction()
