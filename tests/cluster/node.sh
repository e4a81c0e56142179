# The first process of a node. It runs in namespaces of its own (network, mounts, processes), so that nothing the node does
# outlives it: when this process is killed, the kernel ends every pod and undoes every mount of the node.
#
# usage: sh -c "$(cat node.sh)" node FOLDER
set -eu
folder=$1
mount --make-rshared /
# Sockets and network namespaces of the container runtime.
mount -t tmpfs -o mode=755 run /run
# Places that Kubernetes fixes: each node has its own.
for place in /var/lib/kubelet /var/lib/cni /var/log/containers; do
    mkdir -p "$place" "$folder$place"
    mount --bind "$folder$place" "$place"
done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$folder/ready"
# Waits for orphans too, as a first process has to.
while :; do
    sleep 3600 &
    wait
done
