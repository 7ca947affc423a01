#!/usr/bin/env bash
# Orthanc, a node and OHIF with phantom studies on this machine; Ctrl-C ends all three.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.venv/bin
home=${LOOKALIKE_DEMO:-$here/../../var/viewer}
patients=${SAMPLE_PATIENTS:-6}
viewer=${VIEWER_PORT:-8088} page=${PAGE_PORT:-8080} orthanc=${ORTHANC_PORT:-8042} dicom=${ORTHANC_DICOM_PORT:-4242} node=${NODE_PORT:-11112}
version=3.13.2

for each in Orthanc nginx npm; do
  PATH=$PATH:/usr/sbin command -v "$each" >/dev/null || { echo "$each is missing: apt-get install orthanc orthanc-dicomweb nginx-light npm" >&2; exit 1; }
done
mkdir -p "$home/orthanc" "$home/nginx"
if [ ! -d "$home/package/dist" ]; then
  (cd "$home" && npm pack --silent "@ohif/app@$version" >/dev/null && tar xzf "ohif-app-$version.tgz" package/dist && rm "ohif-app-$version.tgz")
fi

cat > "$home/orthanc.json" <<JSON
{ "Name": "PACS", "StorageDirectory": "$home/orthanc", "IndexDirectory": "$home/orthanc", "StableAge": 5,
  "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"], "LuaScripts": ["$here/../orthanc/forward.lua"],
  "HttpPort": $orthanc, "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomPort": $dicom,
  "DicomModalities": { "lookalike": ["LOOKALIKE", "127.0.0.1", $node] }, "DicomWeb": { "Enable": true, "Root": "/dicom-web/" } }
JSON
sed -e "s|listen 8088|listen 127.0.0.1:$viewer|" -e "s|/usr/share/ohif/dist|$home/package/dist|" -e "s|/etc/lookalike/ohif|$here|" \
    -e "s|http://orthanc:8042|http://127.0.0.1:$orthanc|" -e "s|http://lookalike:8080|http://127.0.0.1:$page|" "$here/nginx.conf" > "$home/site.conf"
cat > "$home/nginx.conf" <<CONF
daemon off; pid $home/nginx/pid; error_log $home/nginx/error.log;
events {}
http { include /etc/nginx/mime.types; access_log off; client_body_temp_path $home/nginx; proxy_temp_path $home/nginx; fastcgi_temp_path $home/nginx;
       uwsgi_temp_path $home/nginx; scgi_temp_path $home/nginx; include $home/site.conf; }
CONF

pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait' EXIT
# Kept objects let the page show pictures in full size.
LOOKALIKE_RETAIN=all "$bin/lookalike" serve --home "$home/node" --port "$node" --http-port "$page" > "$home/node.log" 2>&1 & pids+=($!)
TCP_NODELAY=1 PATH=$PATH:/usr/sbin Orthanc "$home/orthanc.json" > "$home/orthanc.log" 2>&1 & pids+=($!)
PATH=$PATH:/usr/sbin nginx -c "$home/nginx.conf" & pids+=($!)
[ -d "$home/phantoms" ] || "$bin/lookalike" sample "$home/phantoms" --patients "$patients"
until "$bin/lookalike" send "$home/phantoms" --server "ORTHANC@127.0.0.1:$dicom" 2>/dev/null; do
  for pid in "${pids[@]}"; do
    kill -0 "$pid" 2>/dev/null || { echo "one of the three has ended: see $home/*.log and $home/nginx/error.log; is a port in use?" >&2; exit 1; }
  done
  sleep 1
done
echo "Viewer: http://127.0.0.1:$viewer/   page: http://127.0.0.1:$page/   (Orthanc forwards the studies to the node by itself)"
wait -n "${pids[@]}"
