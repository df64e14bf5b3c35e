# SPDX-License-Identifier: MIT
# What `cmake --install` puts where: programs, their pages for man, completion for bash and zsh, documents.
include(GNUInstallDirs)
install(TARGETS trireme trireme-coordinator trireme-worker)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Sanitizers are for tests: their programs print no manual.
if(NOT TRIREME_SANITIZE)
  set(manual ${CMAKE_BINARY_DIR}/manual)
  add_custom_command(OUTPUT ${manual}/zsh/_trireme
    COMMAND ${CMAKE_COMMAND} -DBIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY} -DOUT=${manual} -DEMULATOR=${CMAKE_CROSSCOMPILING_EMULATOR}
      -P ${CMAKE_SOURCE_DIR}/deploy/cmake/manual.cmake
    DEPENDS trireme trireme-coordinator trireme-worker deploy/cmake/manual.cmake COMMENT "Printing the manual")
  add_custom_target(manual ALL DEPENDS ${manual}/zsh/_trireme)
  install(DIRECTORY ${manual}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
  install(DIRECTORY ${manual}/bash/ DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(DIRECTORY ${manual}/zsh/ DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
endif()
