"""The benchmark of coresets: the protocol of the D2 paper on Fashion-MNIST."""
