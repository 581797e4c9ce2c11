#include "gpu/driver_extras.hpp"

#include "cuda/cuda_error.hpp"
#include "cuda/driver.hpp"

#include <kiln/error.hpp>

#include <vector>

namespace kiln::test {

using cuda::check;

namespace {

/// Entry points that only these tests use; cuda.h's types, taken from the library that is loaded.
template <class Function>
Function entry(const cuda::Driver& driver, const char* name) {
  void* const symbol = driver.functions().library.symbol(name);
  if (symbol == nullptr) throw Error(ErrorCode::cuda, std::string("libcuda has no ") + name);
  return reinterpret_cast<Function>(symbol);
}

}  // namespace

CapturedNodes captured_nodes(const cuda::Driver& driver, Stream stream, const std::function<void()>& work) {
  const auto& functions = driver.functions();
  const auto get_nodes = entry<CUresult (*)(CUgraph, CUgraphNode*, std::size_t*)>(driver, "cuGraphGetNodes");
  const auto get_type = entry<CUresult (*)(CUgraphNode, CUgraphNodeType*)>(driver, "cuGraphNodeGetType");
  check(functions.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), "beginning a capture", functions);
  work();
  CUgraph graph = nullptr;
  check(functions.cuStreamEndCapture(stream, &graph), "ending a capture", functions);
  std::size_t count = 0;
  check(get_nodes(graph, nullptr, &count), "counting nodes", functions);
  std::vector<CUgraphNode> nodes(count);
  check(get_nodes(graph, nodes.data(), &count), "listing nodes", functions);
  CapturedNodes found;
  for (const CUgraphNode node : nodes) {
    CUgraphNodeType type{};
    check(get_type(node, &type), "asking a node's type", functions);
    ++(type == CU_GRAPH_NODE_TYPE_KERNEL ? found.kernels : found.others);
  }
  functions.cuGraphDestroy(graph);
  return found;
}

SecondContext::SecondContext(std::shared_ptr<const cuda::Driver> driver) : driver_(std::move(driver)) {
  const auto create = entry<CUresult (*)(CUcontext*, unsigned, CUdevice)>(*driver_, "cuCtxCreate_v2");
  CUcontext created = nullptr;
  check(create(&created, 0, 0), "making a context", driver_->functions());
  context_ = created;
}

SecondContext::~SecondContext() {
  entry<CUresult (*)(CUcontext)>(*driver_, "cuCtxDestroy_v2")(static_cast<CUcontext>(context_));
}

const void* current_context(const cuda::Driver& driver) {
  CUcontext context = nullptr;
  check(entry<CUresult (*)(CUcontext*)>(driver, "cuCtxGetCurrent")(&context), "asking for the current context",
        driver.functions());
  return context;
}

}  // namespace kiln::test
