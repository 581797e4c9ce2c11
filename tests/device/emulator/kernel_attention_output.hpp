#define EMULATED_OUTPUT \
  (::EMULATED::config::kOutputF32 ? Number::f32 : static_cast<Number>(::EMULATED::config::dtype()))
