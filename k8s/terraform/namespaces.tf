resource "kubernetes_namespace_v1" "geocrop" {
  metadata {
    name = "geocrop"
    labels = {
      # the cluster itself refuses what k8s/check refuses: root, capabilities, host paths
      "pod-security.kubernetes.io/enforce" = "restricted"
      "pod-security.kubernetes.io/warn"    = "restricted"
    }
  }
}

resource "kubernetes_namespace_v1" "argocd" {
  metadata {
    name = "argocd"
    labels = {
      "pod-security.kubernetes.io/enforce" = "baseline"
      "pod-security.kubernetes.io/warn"    = "restricted"
    }
  }
}
