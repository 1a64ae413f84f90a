# To be sourced: where Debian's archive is, as this machine's apt has it or SEEDBED_DEBIAN_MIRROR and
# SEEDBED_DEBIAN_SECURITY_MIRROR say.

# debian_mirror SUITE: the base of the archive that a suite is in.
debian_mirror() {
  local label=Debian url=${SEEDBED_DEBIAN_MIRROR:-} variable=SEEDBED_DEBIAN_MIRROR
  if [[ $1 == *-security ]]; then
    label=Debian-Security url=${SEEDBED_DEBIAN_SECURITY_MIRROR:-} variable=SEEDBED_DEBIAN_SECURITY_MIRROR
  fi
  [[ -n $url ]] || url=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' | awk -v label="$label" '$2==label{print $1; exit}')
  [[ -n $url ]] || { echo "no mirror of $label in apt's configuration; set $variable" >&2; return 1; }
  echo "${url%/}"
}
