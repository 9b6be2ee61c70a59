#!/bin/sh
# Make what a guest boots from: Debian's current kernel, fetched by apt, and a small initramfs.
#
#	image.sh FOLDER
#
# Leaves in FOLDER: kernel, initrd.gz, and lib/modules, which the guest sees through its share of the host's root.
# A kernel that is already there is used as it is: remove FOLDER to get a newer one.

set -eu
umask 022

[ $# -eq 1 ] || {
	echo "usage: $0 FOLDER" >&2
	exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
folder=$(pwd)

# Modules that the guest needs before it has the host's root, in any order.
needed="virtio_pci virtio_console 9p 9pnet_virtio overlay"

run_quietly()
{
	"$@" >log 2>&1 || {
		cat log >&2
		echo "$0: failed: $*" >&2
		exit 1
	}
}

kernel_package()
{
	apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'
}

fetch_kernel()
{
	package=$(kernel_package)
	# A fresh system has no package lists yet, and old ones name files that the mirror no longer has.
	if [ -z "$package" ] || ! apt-get download -qq "$package" >log 2>&1; then
		run_quietly apt-get update -qq -o DPkg::Lock::Timeout=300
		package=$(kernel_package)
		run_quietly apt-get download -qq "$package"
	fi
	rm -rf unpacked lib
	run_quietly dpkg-deb -x "$package"_*.deb unpacked
	rm -f "$package"_*.deb
	mv unpacked/lib .
	run_quietly depmod -b . "$(ls lib/modules)"
	# Last: its presence says that the rest is complete.
	rm -f kernel
	mv unpacked/boot/vmlinuz-* vmlinuz
	rm -rf unpacked
}

# An emulated processor takes seconds to decompress a kernel, at every boot. QEMU starts a plain one, too.
unpack_kernel()
{
	start=$(LC_ALL=C grep -abo "$(printf '\3757zXZ')" vmlinuz | head -n 1 | cut -d: -f1)
	if [ -z "$start" ] || ! tail -c "+$((start + 1))" vmlinuz | xz -dc --single-stream >plain 2>/dev/null; then
		cp vmlinuz plain # compressed otherwise
	fi
	mv plain kernel
}

make_initramfs()
{
	version=$(ls lib/modules)
	rm -rf initramfs
	mkdir -p initramfs/bin initramfs/modules initramfs/proc initramfs/sys initramfs/dev initramfs/host \
		initramfs/layer initramfs/system
	cp "$here/init" initramfs/init
	chmod 755 initramfs/init
	cp "$(command -v busybox)" initramfs/bin/busybox
	ln -s busybox initramfs/bin/sh
	echo "$folder/lib/modules" >initramfs/modules/host_folder
	for module in $needed; do
		modprobe -d "$folder" -S "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
		cp "$path" initramfs/modules/
		basename "$path"
	done >initramfs/modules/order
	(cd initramfs && find . | cpio -o -H newc --quiet) | gzip -1 >initrd.new
	rm -rf initramfs
	mv initrd.new initrd.gz
}

[ -e vmlinuz ] || fetch_kernel
[ -e kernel ] || unpack_kernel
make_initramfs
rm -f log
