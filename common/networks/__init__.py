"""2D and 3D ResNets, their weights as one vector, and the loading of pretrained weights."""
