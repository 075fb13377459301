# A node of 8 cores and 32 GB: geocrop may ask for three quarters of it, Argo CD for an eighth.
resource "kubernetes_resource_quota_v1" "geocrop" {
  metadata {
    name      = "all"
    namespace = kubernetes_namespace_v1.geocrop.metadata[0].name
  }
  spec {
    hard = {
      "requests.cpu"           = "6"
      "requests.memory"        = "16Gi"
      "limits.memory"          = "24Gi"
      "requests.storage"       = "400Gi"
      "persistentvolumeclaims" = "20"
      "pods"                   = "60"
      "services.loadbalancers" = "0" # Traefik is the one way in
    }
  }
}

resource "kubernetes_resource_quota_v1" "argocd" {
  metadata {
    name      = "all"
    namespace = kubernetes_namespace_v1.argocd.metadata[0].name
  }
  spec {
    hard = {
      "requests.cpu"    = "1"
      "requests.memory" = "2Gi"
      "limits.memory"   = "4Gi"
      "pods"            = "20"
    }
  }
}

# Of a container that says nothing; ours all say, which k8s/check sees to.
resource "kubernetes_limit_range_v1" "geocrop" {
  metadata {
    name      = "containers"
    namespace = kubernetes_namespace_v1.geocrop.metadata[0].name
  }
  spec {
    limit {
      type            = "Container"
      default         = { memory = "256Mi" }
      default_request = { cpu = "50m", memory = "64Mi" }
      max             = { memory = "4Gi" }
    }
  }
}

resource "kubernetes_limit_range_v1" "argocd" {
  metadata {
    name      = "containers"
    namespace = kubernetes_namespace_v1.argocd.metadata[0].name
  }
  spec {
    limit {
      type            = "Container"
      default         = { memory = "512Mi" }
      default_request = { cpu = "50m", memory = "128Mi" }
      max             = { memory = "2Gi" }
    }
  }
}
