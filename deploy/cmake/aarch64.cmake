# SPDX-License-Identifier: MIT
# Cross to 64-bit ARM with Debian's compiler; programs run under qemu-user, on its CPU with every extension unless
# QEMU_CPU names another. deploy/setup --emulation has put cmocka for ARM under build/arm64-root.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_CURRENT_LIST_DIR}/../../build/arm64-root)
set(ENV{PKG_CONFIG_LIBDIR} $ENV{PKG_CONFIG_SYSROOT_DIR}/usr/lib/aarch64-linux-gnu/pkgconfig)
