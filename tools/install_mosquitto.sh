#!/bin/sh
# Makes sure that a mosquitto broker is installed: by apt where that needs no password, else by asking for it.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin"
if command -v mosquitto >/dev/null && command -v mosquitto_passwd >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ]; then
  as_root=""
elif sudo -n true 2>/dev/null; then
  as_root="sudo"
else
  echo "mosquitto is not installed. Install it (on Debian and Raspberry Pi OS: sudo apt install mosquitto) and try again." >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "mosquitto is not installed, and there is no apt here. Install mosquitto 2.0 or later and try again." >&2
  exit 1
fi
echo "installing mosquitto" >&2
export DEBIAN_FRONTEND=noninteractive
# Debian would start a broker of its own on port 1883; only the program is wanted here.
$as_root sh -c 'policy=/usr/sbin/policy-rc.d; made=
if [ ! -e $policy ]; then printf "#!/bin/sh\nexit 101\n" >$policy; chmod +x $policy; made=1; fi
apt-get update -qq && apt-get install -y -qq mosquitto >/dev/null; status=$?
[ -z "$made" ] || rm -f $policy
exit $status'
