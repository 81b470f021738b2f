# Process 1 of a network namespace with only loopback: netns.sh DIRECTORY
#
# Whatever is started in here ends with it, and it ends when its standard input does. What clients
# write outside their own directories (/etc/docker, /var/lib/containers, /run) goes to memory.
set -e
scratch=$1/scratch
mkdir "$scratch"
mount -t tmpfs tmpfs "$scratch"
for path in etc var/lib; do
  mkdir -p "$scratch/$path/upper" "$scratch/$path/work"
  layers="lowerdir=/$path,upperdir=$scratch/$path/upper,workdir=$scratch/$path/work"
  mount -t overlay overlay -o "$layers" "/$path"
done
mount -t tmpfs tmpfs /run
ip link set lo up
echo ready
cat >/dev/null
