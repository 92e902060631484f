"""How each runtime is called from each language: the end of a snippet. `$$` is a dollar sign."""

PACKAGES = {
    "onnxruntime": {
        "python": "onnxruntime",
        "javascript": "onnxruntime-web",
        "kotlin": "com.microsoft.onnxruntime:onnxruntime-android",
        "swift": "onnxruntime-swift-package-manager",
    },
    "litert": {
        "python": "ai-edge-litert",
        "javascript": "@litertjs/core",
        "kotlin": "com.google.ai.edge.litert:litert",
        "swift": "TensorFlowLiteSwift",
    },
    "openvino": {
        "python": "openvino",
        "javascript": "openvino-node",
        "kotlin": "OpenVINO's Java bindings (org.intel.openvino)",
        "swift": "OpenVINO's C interface (openvino/c/openvino.h, in the bridging header)",
    },
}
"""Target -> language -> what runs the file there."""

RUN = {
    "onnxruntime": {
        "python": """
def run(x):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "$dequantized")
    session = ort.InferenceSession("$file", options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0][0]
""",
        "javascript": """
/** Logits of one picture. `bytes` is the content of $file. */
export async function run(bytes, rgba, width, height) {
  const ort = await import('onnxruntime-web/wasm');
  const options = { extra: { session: { disable_quant_qdq: '$dequantized' } } };
  const session = await ort.InferenceSession.create(bytes, options);
  const input = new ort.Tensor('float32', preprocess(rgba, width, height), [1, 3, HEIGHT, WIDTH]);
  const outputs = await session.run({ [session.inputNames[0]]: input });
  return outputs[session.outputNames[0]].data;
}
""",
        "kotlin": """
    /** `bytes` is the content of $file. */
    fun run(bytes: ByteArray, bitmap: Bitmap): List<Pair<String, Float>> {
        val environment = ai.onnxruntime.OrtEnvironment.getEnvironment()
        val options = ai.onnxruntime.OrtSession.SessionOptions()
        options.addConfigEntry("session.disable_quant_qdq", "$dequantized")
        environment.createSession(bytes, options).use { session ->
            val shape = longArrayOf(1, 3, HEIGHT.toLong(), WIDTH.toLong())
            ai.onnxruntime.OnnxTensor.createTensor(environment, preprocess(bitmap).asFloatBuffer(), shape).use { x ->
                session.run(mapOf(session.inputNames.first() to x)).use { outputs ->
                    @Suppress("UNCHECKED_CAST")
                    return ranked((outputs[0].value as Array<FloatArray>)[0])
                }
            }
        }
    }
""",
        "swift": """
    // import OnnxRuntimeBindings
    static func run(path: String, rgba: [UInt8], width w: Int, height h: Int) throws -> [Float] {
        let environment = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.addConfigEntry(withKey: "session.disable_quant_qdq", value: "$dequantized")
        let session = try ORTSession(env: environment, modelPath: path, sessionOptions: options)
        let data = NSMutableData(data: preprocess(rgba: rgba, width: w, height: h))
        let shape: [NSNumber] = [1, 3, NSNumber(value: height), NSNumber(value: width)]
        let input = try ORTValue(tensorData: data, elementType: .float, shape: shape)
        let outputs = try session.run(
            withInputs: [session.inputNames()[0]: input], outputNames: ["logits"], runOptions: nil)
        let logits = try outputs["logits"]!.tensorData() as Data
        return logits.withUnsafeBytes { Array($$0.bindMemory(to: Float.self)) }
    }
""",
    },
    "litert": {
        "python": """
def run(x):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter("$file")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
""",
        "javascript": """
/** Logits of one picture. `wasm` is the folder of LiteRT's wasm files, `file` the address of $file. */
export async function run(wasm, file, rgba, width, height) {
  const { loadLiteRt, loadAndCompile, Tensor } = await import('@litertjs/core');
  await loadLiteRt(wasm);
  const model = await loadAndCompile(file, { accelerator: 'wasm' });
  const outputs = await model.run(new Tensor(preprocess(rgba, width, height), [1, HEIGHT, WIDTH, 3]));
  const codes = await outputs[0].data();
  return OUTPUT_GRID ? Float32Array.from(codes, (code) => (code - OUTPUT_GRID[1]) * OUTPUT_GRID[0]) : codes;
}
""",
        "kotlin": """
    /** `file` is $file, mapped into memory. */
    fun run(file: ByteBuffer, bitmap: Bitmap): List<Pair<String, Float>> {
        org.tensorflow.lite.Interpreter(file).use { interpreter ->
            val size = interpreter.getOutputTensor(0).numBytes()
            val output = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
            val others = (1 until interpreter.outputTensorCount).associateWith {
                ByteBuffer.allocateDirect(interpreter.getOutputTensor(it).numBytes()) as Any
            }
            interpreter.runForMultipleInputsOutputs(arrayOf(preprocess(bitmap)), mapOf(0 to output as Any) + others)
            val grid = OUTPUT_GRID
            if (grid == null) return ranked(FloatArray(output.capacity() / 4) { output.getFloat(it * 4) })
            return ranked(FloatArray(output.capacity()) { (output.get(it) - grid.second) * grid.first })
        }
    }
""",
        "swift": """
    // import TensorFlowLite
    static func run(path: String, rgba: [UInt8], width w: Int, height h: Int) throws -> [Float] {
        let interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
        try interpreter.copy(preprocess(rgba: rgba, width: w, height: h), toInputAt: 0)
        try interpreter.invoke()
        let data = try interpreter.output(at: 0).data
        guard let grid = outputGrid else { return data.withUnsafeBytes { Array($$0.bindMemory(to: Float.self)) } }
        return data.map { Float(Int(Int8(bitPattern: $$0)) - grid.zeroPoint) * grid.scale }
    }
""",
    },
    "openvino": {
        "python": """
def run(x):
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model("$file", "CPU", settings)
    return compiled([x])[0][0]
""",
        "javascript": """
/** Logits of one picture, in Node. `path` is that of $file; its weights (.bin) lie beside it. */
export async function run(path, rgba, width, height) {
  const { addon } = (await import('openvino-node')).default;
  const core = new addon.Core();
  const settings = { INFERENCE_PRECISION_HINT: 'f32', DYNAMIC_QUANTIZATION_GROUP_SIZE: '0' };
  const compiled = await core.compileModel(await core.readModel(path), 'CPU', settings);
  const input = new addon.Tensor('f32', [1, 3, HEIGHT, WIDTH], preprocess(rgba, width, height));
  const outputs = await compiled.createInferRequest().inferAsync([input]);
  return outputs[compiled.output(0)].data;
}
""",
        "kotlin": """
    /** `path` is that of $file; its weights (.bin) lie beside it. */
    fun run(path: String, bitmap: Bitmap): List<Pair<String, Float>> {
        val core = org.intel.openvino.Core()
        core.set_property("CPU", mapOf("INFERENCE_PRECISION_HINT" to "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE" to "0"))
        val request = core.compile_model(core.read_model(path), "CPU").create_infer_request()
        val floats = FloatArray(3 * HEIGHT * WIDTH).also { preprocess(bitmap).asFloatBuffer().get(it) }
        request.set_input_tensor(org.intel.openvino.Tensor(intArrayOf(1, 3, HEIGHT, WIDTH), floats))
        request.infer()
        return ranked(request.get_output_tensor().data())
    }
""",
        "swift": """
    // OpenVINO has no Swift interface: hand `preprocess` to ov_tensor_create_from_host_ptr as F32,
    // {1, 3, height, width}, and compile $file with INFERENCE_PRECISION_HINT f32.
""",
    },
}
"""Target -> language -> a template."""
