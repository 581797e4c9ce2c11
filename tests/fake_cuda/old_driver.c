/* A driver from before CUDA 12: it starts, but has no cuLibraryLoadData. */
int cuDriverGetVersion(int* version);
int cuInit(unsigned flags);

int cuDriverGetVersion(int* version) {
  *version = 11080;
  return 0;
}

int cuInit(unsigned flags) { return flags == 0 ? 0 : 1; }
