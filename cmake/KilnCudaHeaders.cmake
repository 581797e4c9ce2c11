# kiln_cuda_headers: cuda.h and nvrtc.h, from a toolkit or, where there is none, from the nvidia wheels of
# .venv or of the active Python. Only headers: both libraries are loaded at run time.
set(homes ${KILN_CUDA_HOME} ENV KILN_CUDA_HOME ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda)

find_program(KILN_PYTHON python3)
set(active_site_packages "")
if(KILN_PYTHON)
  execute_process(COMMAND ${KILN_PYTHON} -c "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
                  OUTPUT_VARIABLE active_site_packages ERROR_QUIET)
endif()
file(GLOB site_packages ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages)
list(APPEND site_packages ${active_site_packages})
foreach(folder IN LISTS site_packages)
  # CUDA 13 puts everything into one folder, CUDA 12 has one for each part.
  list(APPEND homes ${folder}/nvidia/cu13 ${folder}/nvidia/cuda_runtime ${folder}/nvidia/cuda_nvrtc)
endforeach()

# All are hints, so that they go before an old cuda.h of the distribution's in /usr/include.
find_path(KILN_CUDA_INCLUDE_DIR cuda.h HINTS ${homes} PATH_SUFFIXES include)
find_path(KILN_NVRTC_INCLUDE_DIR nvrtc.h HINTS ${KILN_CUDA_INCLUDE_DIR} ${homes} PATH_SUFFIXES include)
mark_as_advanced(KILN_PYTHON KILN_CUDA_INCLUDE_DIR KILN_NVRTC_INCLUDE_DIR)

set(found_version 0)
if(KILN_CUDA_INCLUDE_DIR AND KILN_NVRTC_INCLUDE_DIR)
  file(STRINGS ${KILN_CUDA_INCLUDE_DIR}/cuda.h version_line REGEX "^#define CUDA_VERSION [0-9]+")
  string(REGEX REPLACE "[^0-9]" "" found_version "${version_line}")
endif()
if(found_version LESS 12090)
  unset(KILN_CUDA_INCLUDE_DIR CACHE)
  unset(KILN_NVRTC_INCLUDE_DIR CACHE)
  message(FATAL_ERROR "Kiln needs cuda.h and nvrtc.h of CUDA 12.9 or newer (found CUDA_VERSION: ${found_version}). Set "
                      "CUDA_HOME to a toolkit, or run scripts/setup.sh, which takes them from the nvidia wheels.")
endif()

add_library(kiln_cuda_headers INTERFACE)
target_include_directories(kiln_cuda_headers SYSTEM INTERFACE ${KILN_CUDA_INCLUDE_DIR} ${KILN_NVRTC_INCLUDE_DIR})
