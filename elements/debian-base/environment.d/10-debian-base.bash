export DISTRO_NAME=debian
export DIB_RELEASE=${DIB_RELEASE:-bookworm}
export DIB_INIT_SYSTEM=systemd
export DIB_DISTRIBUTION_MIRROR=${DIB_DISTRIBUTION_MIRROR:?the mirror that debootstrap takes the release from}
export DIB_DEBOOTSTRAP_EXTRA_ARGS=${DIB_DEBOOTSTRAP_EXTRA_ARGS:-"--include=ca-certificates,python3-minimal"}
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
