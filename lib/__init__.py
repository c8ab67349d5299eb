"""Feature unlearning for pre-trained GANs and VAEs: the code under the notebooks."""
