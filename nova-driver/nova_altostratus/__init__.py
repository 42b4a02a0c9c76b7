"""Nova compute drivers of Altostratus: system containers on Docker Engine and on libvirt."""
