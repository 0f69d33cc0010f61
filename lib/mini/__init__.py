"""The embedded profile: drawn scenes in the layouts of VSPW and VIPSeg."""
