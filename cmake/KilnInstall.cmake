# Headers, both libraries, the tool, find_package(kiln) and pkg-config. Everything is relocatable.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kiln)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/kiln DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# Two export sets: only who asks for the static library needs libcrypto's development files.
install(TARGETS kiln_shared EXPORT kiln-shared)
install(TARGETS kiln_static EXPORT kiln-static)
install(EXPORT kiln-shared NAMESPACE kiln:: DESTINATION ${package_dir})
install(EXPORT kiln-static NAMESPACE kiln:: DESTINATION ${package_dir})
if(TARGET kiln_tool)
  install(TARGETS kiln_tool)
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/kiln-config.cmake.in ${PROJECT_BINARY_DIR}/kiln-config.cmake
  INSTALL_DESTINATION ${package_dir})
# As the soname has it: until 1.0 a minor version may break.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kiln-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kiln-config.cmake ${PROJECT_BINARY_DIR}/kiln-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/kiln-pack.cmake
  DESTINATION ${package_dir})

file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/kiln.pc.in ${PROJECT_BINARY_DIR}/kiln.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/kiln.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
