// The SDK warns of the Node.js that the tests happen to run on, which is not that of the function.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
